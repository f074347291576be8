"""OCSP as decisions: what is asked of a responder, which answer may be stapled, when to ask again, and what to say about it.

No socket, no file and no clock: `runtime.ocsp` fetches and stores, `app.ocsp` brings both together.
"""
