// Package protocol recognises protocols in the first bytes of a flow, and reads
// the facts they show in the clear. One file per protocol; the list in
// list.go is the whole registry. It imports nothing of ours.
package protocol

// State of an identification. Both sides must agree for Confirmed.
type State uint8

// States, from nothing to most.
const (
	Unknown   State = iota // nothing yet, or never
	NeedMore               // could still be this
	NotThis                // cannot be this any more
	Suspected              // one side speaks it
	Confirmed              // both sides do
)

// Limits of what a detector is shown, per direction.
const (
	MaxStream    = 16 << 10 // bytes of a TCP stream
	MaxDatagrams = 8        // datagrams of a UDP or raw IP flow
	MaxDatagram  = 2048     // bytes of each
)

// Side is what one end has sent so far.
type Side struct {
	Stream    []byte   // TCP: in order from the first byte, without gaps
	Datagrams [][]byte // UDP, IP: the first ones, each possibly cut at MaxDatagram
	Lengths   []int    // of Datagrams on the wire (payload bytes)
	Count     int      // datagrams or segments with payload seen, kept or not
}

// Flow is what a detector looks at. Client is the side that opened the flow
// (sent the SYN, or the first packet seen).
type Flow struct {
	Proto          uint8 // IP protocol number
	Client, Server Side
	ClientPort     uint16
	ServerPort     uint16
	MidFlow        bool   // the capture began in the middle: Stream does not start at byte 0
	Closed         bool   // nothing more will come
	Facts          *Facts // never nil: the flow table gives one to every flow
}

// Facts are what parsers found, shared by all detectors of the flow. They outlive
// its bytes: a parser copies what it keeps, never a slice of a Side.
type Facts struct {
	TLS    *TLS
	SSH    *SSH
	Hidden *Hidden
}

// TLS is what a TLS, DTLS or QUIC handshake shows in the clear.
type TLS struct {
	QUIC         bool
	DTLS         bool
	SNI          string
	ALPN         []string
	Version      uint16 // negotiated, else highest offered
	JA3          string
	JA4          string
	ECH          bool
	ServerHello  bool
	SelectedALPN string
	Certificates [][]byte // the server's, DER, leaf first; TLS 1.2 and older only

	ClientCertificates [][]byte // the client's, where it showed one
}

// SSH is what an SSH handshake shows in the clear.
type SSH struct {
	ClientVersion, ServerVersion string
	HASSH, HASSHServer           string
}

// Hidden is a true remote named inside the flow.
type Hidden struct {
	Host string // a name or an address, as text
	Port uint16
	By   string // "http_connect", "http_proxy", "socks4", "socks4a", "socks5", "proxy_header"
}

// Result is a detector's answer.
type Result struct {
	State    State
	Label    string // category; a detector may answer for several (ikev1, ikev2)
	Product  string // where the bytes name one
	Evidence string // one sentence, for a person
}

// Detector recognises one protocol. First is a cheap test of the first payload
// bytes of either side; Look runs only where it passed, each time more bytes
// have come, until it answers NotThis or Confirmed.
type Detector struct {
	Name  string
	Doc   Doc
	TCP   func(first []byte, fromClient bool) bool                 // nil: not over TCP
	UDP   func(first []byte, wireLength int, fromClient bool) bool // nil: not over UDP
	Proto uint8                                                    // an IP protocol of its own, 0 for none
	Facts bool                                                     // fills Facts: let it finish though another has confirmed
	Look  func(*Flow) Result
}

// Doc is the protocol's row on the generated page docs/protocols.md.
type Doc struct {
	How      string // how it is recognised
	Confirms string // what confirms it
	Limits   string // what it cannot tell
	Source   string // RFC or specification
}
