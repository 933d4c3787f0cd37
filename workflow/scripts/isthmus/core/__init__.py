"""What any program needs: errors, atomic files, tensors on disk, random streams, logs, resuming, devices, digests."""
