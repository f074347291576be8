"""`headgate handshakes`: why TLS handshakes fail, in the terminal, while it happens."""
