"""What the processes of one generation share and say to each other."""
