"""Contexts, certificates, what a handshake tells. All of OpenSSL stands behind this package."""
