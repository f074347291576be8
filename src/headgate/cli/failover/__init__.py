"""`headgate failover-config`: one address on two machines, moved by keepalived (VRRP, RFC 9568)."""
