"""What is valid and surely not meant in certificates, keys, TLS options and served names; `lines` is the way in."""
