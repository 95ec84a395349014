package protocol

import "bytes"

// DER tags, ITU-T X.690, and the tags of a TBSCertificate, RFC 5280 section 4.1.
const (
	derInteger  = 0x02
	derOID      = 0x06
	derUTCTime  = 0x17
	derTime     = 0x18
	derSequence = 0x30
	derSet      = 0x31
	derVersion  = 0xa0
	derExtras   = 0xa3
)

// Object identifiers as they stand in DER: attributes of a name (RFC 4519
// section 2) and extensions (RFC 5280 section 4.2.1).
const (
	oidCommonName   = "\x55\x04\x03"
	oidCountry      = "\x55\x04\x06"
	oidOrganization = "\x55\x04\x0a"
	oidUnit         = "\x55\x04\x0b"
	oidKeyUsage     = "\x55\x1d\x0f"
	oidExtKeyUsage  = "\x55\x1d\x25"
)

// certificate is what the product rules read of a certificate. The slices
// point into the DER.
type certificate struct {
	issuer, subject     []byte // the whole names
	notBefore, notAfter string // as written: YYMMDDHHMMSSZ or with a full year
	extras              []byte // the list of extensions
}

// der takes the next element, whose tag must be one of want (0: any).
func (c *cursor) der(want ...byte) (tag byte, body []byte) {
	tag = byte(c.uint(1))
	n := c.uint(1)
	if n > 0x80 && n <= 0x84 {
		n = c.uint(n - 0x80)
	} else if n >= 0x80 {
		c.ok = false
	}
	body = c.take(n)
	if len(want) > 0 && bytes.IndexByte(want, tag) < 0 {
		c.ok = false
	}
	return tag, body
}

// parseCertificate cuts the fields out of a certificate.
func parseCertificate(der []byte) (certificate, bool) {
	var out certificate
	c := newCursor(der)
	_, whole := c.der(derSequence)
	c = newCursor(whole)
	_, tbs := c.der(derSequence)
	c = newCursor(tbs)
	if tag, _ := c.der(derVersion, derInteger); tag == derVersion {
		c.der(derInteger) // serial number
	}
	c.der(derSequence) // signature algorithm
	_, out.issuer = c.der(derSequence)
	_, validity := c.der(derSequence)
	_, out.subject = c.der(derSequence)
	c.der(derSequence) // public key
	ok := c.ok
	for len(c.b) > 0 && c.ok {
		if tag, body := c.der(); tag == derExtras && c.ok {
			list := newCursor(body)
			_, out.extras = list.der(derSequence)
		}
	}
	v := newCursor(validity)
	_, before := v.der(derUTCTime, derTime)
	_, after := v.der(derUTCTime, derTime)
	out.notBefore, out.notAfter = string(before), string(after)
	return out, ok && v.ok
}

// attribute gives the first value of an attribute of a name.
func attribute(name []byte, oid string) []byte {
	for names := newCursor(name); len(names.b) > 0; {
		_, set := names.der(derSet)
		set2 := newCursor(set)
		_, pair := set2.der(derSequence)
		c := newCursor(pair)
		_, kind := c.der(derOID)
		_, value := c.der()
		if !names.ok || !c.ok {
			return nil
		}
		if string(kind) == oid {
			return value
		}
	}
	return nil
}

// attributes counts the attributes of a name.
func attributes(name []byte) int {
	n := 0
	for names := newCursor(name); len(names.b) > 0; n++ {
		if names.der(derSet); !names.ok {
			return 0
		}
	}
	return n
}

// extension gives the value of an extension.
func (c *certificate) extension(oid string) []byte {
	for list := newCursor(c.extras); len(list.b) > 0; {
		_, one := list.der(derSequence)
		if !list.ok {
			return nil
		}
		e := newCursor(one)
		_, kind := e.der(derOID)
		tag, value := e.der()
		if tag == 0x01 { // critical
			_, value = e.der()
		}
		if e.ok && string(kind) == oid {
			return value
		}
	}
	return nil
}

func (c *certificate) selfSigned() bool {
	return len(c.subject) > 0 && bytes.Equal(c.issuer, c.subject)
}
