// Package hostevidence is identification's second source: facts about the owner
// of a flow. Under TLS 1.3 some VPNs cannot be told from HTTPS by their packets;
// on the host they can, since the process that owns the flow holds a TUN device
// whose bytes rise and fall with the flow's.
package hostevidence
