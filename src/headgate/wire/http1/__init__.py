"""HTTP/1 on the wire (RFC 9112): heads, framing, chunked bodies. Strict: what is ambiguous is refused, never guessed."""
