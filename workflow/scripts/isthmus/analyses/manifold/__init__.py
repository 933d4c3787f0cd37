"""Cooper's theory of the manifold of zero loss, tested on small networks in float64."""
