package protocol

// softetherDoc documents what tls and http name; softEtherUDP and the detector
// of its ICMP document the rest.
func softetherDoc() Doc {
	return Doc{
		How: "TLS 1.2: the certificate that a server makes for itself on its first start; the published JA4 of its client; the JA3 of its client on OpenSSL 3 with an address as SNI; names of its relay and dynamic DNS. " +
			"In plain HTTP: POST to /vpnsvc/, with a GIF89a as water mark",
		Confirms: "its certificate and its client's JA4 together; in plain HTTP the server's answer",
		Limits:   "under TLS 1.3 only the ClientHello tells, which another OpenSSL or a server's name in it makes that of many programs: host evidence is needed then",
		Source:   "SoftEtherVPN src/Cedar/Protocol.c, Server.c, AzureClient.h, DDNS.h, src/Mayaqua/HTTP.h; FoxIO-LLC/ja4 ja4plus-mapping.csv; captures of SoftEther 5.01 made by the project",
	}
}
