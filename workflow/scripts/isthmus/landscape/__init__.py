"""Tools that measure the loss landscape: paths, curves, planes, barriers, Hessians, sharpness, tangent kernels."""
