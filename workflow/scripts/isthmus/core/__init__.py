"""What any program needs: errors, whole files, tensors on disk, random streams, logs, resuming, devices, digests."""
