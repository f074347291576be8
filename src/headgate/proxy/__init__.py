"""The data plane without input or output: machines that are pushed events and act through a typed port."""
