"""The Hessian and the Gauss-Newton matrix: products with vectors, eigenvalues, densities and traces."""
