package protocol

// Products are the categories that have no detector of their own, since they
// are named inside TLS, DTLS or HTTP: name and documentation only.
func Products() []Detector {
	return []Detector{
		{Name: "anydesk", Doc: anydeskDoc()},
		{Name: "anyconnect-dtls", Doc: anyconnectDoc()},
		{Name: "softether over TLS and HTTP", Doc: softetherDoc()},
	}
}
