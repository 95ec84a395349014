package protocol

func anydeskDoc() Doc {
	return Doc{
		How:      "TLS whose certificate is AnyDesk's (subject AnyDesk Client, issuer philandro Software GmbH), whose ALPN is anydesk/, or whose SNI is a relay under net.anydesk.com",
		Confirms: "the same, with a ClientHello from one side and a ServerHello from the other",
		Limits:   "its JA4 is that of a common OpenSSL and is not used; visits to anydesk.com are ordinary HTTPS",
		Source:   "nDPI src/lib/protocols/tls.c; captures of AnyDesk",
	}
}
