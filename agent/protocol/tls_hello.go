package protocol

// TLS extension types, IANA "TLS ExtensionType Values".
const (
	extServerName        = 0      // RFC 6066 section 3
	extGroups            = 10     // RFC 8422 section 5.1.1
	extPointFormats      = 11     // RFC 8422 section 5.1.2
	extSignatures        = 13     // RFC 8446 section 4.2.3
	extALPN              = 16     // RFC 7301
	extSupportedVersions = 43     // RFC 8446 section 4.2.1
	extEncryptedHello    = 0xfe0d // RFC 9849
	extEncryptedSNI      = 0xffce // draft-ietf-tls-esni-02 to -06
)

// maxNames bounds the ALPN names kept of one hello.
const maxNames = 32

// clientHello is a ClientHello cut into its fields, RFC 8446 section 4.1.2. The
// slices point into the flow's bytes.
type clientHello struct {
	version    int // legacy_version
	session    []byte
	ciphers    []byte
	extensions []byte
}

func parseClientHello(body []byte, form helloForm) (clientHello, bool) {
	c := newCursor(body)
	h := clientHello{version: c.uint(2)}
	c.take(32)
	h.session = c.vector(1)
	if form == datagramHello {
		c.vector(1) // cookie, RFC 6347 section 4.2.1
	}
	h.ciphers = c.vector(2)
	c.vector(1) // compression methods
	if !c.ok || len(h.session) > 32 || len(h.ciphers) == 0 || len(h.ciphers)%2 != 0 {
		return clientHello{}, false
	}
	if len(c.b) > 0 { // TLS 1.0 and older may end here
		h.extensions = c.vector(2)
	}
	return h, c.ok
}

// extensions walks a list of extensions.
type extensions struct{ c cursor }

func (e *extensions) next() (kind int, body []byte, ok bool) {
	kind, body = e.c.uint(2), e.c.vector(2)
	return kind, body, e.c.ok
}

func (h *clientHello) walk() extensions { return extensions{newCursor(h.extensions)} }

// extension gives the body of one extension.
func (h *clientHello) extension(want int) (body []byte, ok bool) {
	walk := h.walk()
	for {
		kind, body, ok := walk.next()
		if !ok || kind == want {
			return body, ok
		}
	}
}

// list gives the content of an extension that is one vector with an n byte
// length.
func (h *clientHello) list(want, n int) []byte {
	body, ok := h.extension(want)
	if !ok {
		return nil
	}
	c := newCursor(body)
	return c.vector(n)
}

// highest gives the highest version offered.
func (h *clientHello) highest() int {
	offered, best := h.list(extSupportedVersions, 1), 0
	for i := 0; i+1 < len(offered); i += 2 {
		v := int(offered[i])<<8 | int(offered[i+1])
		switch {
		case grease(v):
		case best == 0, v>>8 == 3 && v > best, v>>8 == 0xfe && v < best: // DTLS counts down
			best = v
		}
	}
	if best == 0 {
		return h.version
	}
	return best
}

// fill copies the hello's facts.
func (h *clientHello) fill(t *TLS, form helloForm) {
	if names := h.list(extServerName, 2); len(names) > 3 {
		c := newCursor(names)
		if c.uint(1) == 0 { // host_name
			t.SNI = string(c.vector(2))
		}
	}
	t.ALPN = alpnNames(h.list(extALPN, 2))
	_, ech := h.extension(extEncryptedHello)
	_, esni := h.extension(extEncryptedSNI)
	t.ECH = ech || esni
	if !t.ServerHello {
		t.Version = uint16(h.highest())
	}
	t.JA3 = h.ja3()
	t.JA4 = h.ja4(form)
}

func alpnNames(list []byte) []string {
	var names []string
	for c := newCursor(list); len(c.b) > 0 && c.ok && len(names) < maxNames; {
		if name := c.vector(1); c.ok {
			names = append(names, string(name))
		}
	}
	return names
}

// parseServerHello reads a ServerHello, RFC 8446 section 4.1.3.
func parseServerHello(body []byte, t *TLS) {
	c := newCursor(body)
	version := c.uint(2)
	c.take(32)
	c.vector(1) // session id
	c.take(3)   // cipher suite, compression
	if !c.ok {
		return
	}
	t.ServerHello, t.Version = true, uint16(version)
	if len(c.b) == 0 {
		return
	}
	walk := extensions{newCursor(c.vector(2))}
	for {
		kind, ext, ok := walk.next()
		if !ok {
			return
		}
		e := newCursor(ext)
		switch kind {
		case extSupportedVersions:
			if v := e.uint(2); e.ok {
				t.Version = uint16(v)
			}
		case extALPN:
			if names := alpnNames(e.vector(2)); len(names) == 1 {
				t.SelectedALPN = names[0]
			}
		}
	}
}

// parseCertificates reads a Certificate message of TLS 1.2 and older, RFC 5246
// section 7.4.2. The result is a copy.
func parseCertificates(body []byte) [][]byte {
	c := newCursor(body)
	c = newCursor(append([]byte(nil), c.vector(3)...))
	var chain [][]byte
	for len(c.b) > 0 && c.ok && len(chain) < 16 {
		if der := c.vector(3); c.ok && len(der) > 0 {
			chain = append(chain, der)
		}
	}
	return chain
}

// grease says whether v is one of the reserved values of RFC 8701.
func grease(v int) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }
