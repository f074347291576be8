"""Health checks on the event loop: connections to servers, conversations over them, and who is told what came of it."""
