"""All input and output: event loop, listeners, channels, timers, processes, log sinks."""
