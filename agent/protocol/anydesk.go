package protocol

func anydeskDoc() Doc {
	return Doc{
		How:      "TLS whose certificate is AnyDesk's (subject AnyDesk Client, issuer philandro Software GmbH), whose ALPN is anydesk/, whose SNI is a relay under net.anydesk.com, or whose ClientHello has AnyDesk's JA4",
		Confirms: "the same, with a ClientHello from one side and a ServerHello from the other",
		Limits:   "a JA4 alone stays suspected; visits to anydesk.com are ordinary HTTPS",
		Source:   "nDPI src/lib/protocols/tls.c; captures of AnyDesk",
	}
}
