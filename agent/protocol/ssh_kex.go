package protocol

import (
	"crypto/md5"
	"encoding/hex"
)

// sshKexInit is SSH_MSG_KEXINIT, RFC 4253 section 7.1.
const sshKexInit = 20

// Name lists of SSH_MSG_KEXINIT in their order.
const (
	listKex                   = 0
	listCiphersToServer       = 2
	listCiphersToClient       = 3
	listMACsToServer          = 4
	listMACsToClient          = 5
	listCompressToServer      = 6
	listCompressToClient      = 7
	sshLists                  = 10
	maxSSHPacket              = 35000 // RFC 4253 section 6.1
	sshCookie                 = 16
	hasshSeparator       byte = ';'
)

func lookSSHKeys(f *Flow) Result {
	client, cOpen := kexLists(f.Client.Stream)
	server, sOpen := kexLists(afterGreeting(f.Server.Stream))
	if client != nil || server != nil {
		f.ssh(nil, nil, false, false)
		s := f.Facts.SSH
		if client != nil && s.HASSH == "" {
			s.HASSH = hassh(client[listKex], client[listCiphersToServer], client[listMACsToServer], client[listCompressToServer])
		}
		if server != nil && s.HASSHServer == "" {
			s.HASSHServer = hassh(server[listKex], server[listCiphersToClient], server[listMACsToClient], server[listCompressToClient])
		}
	}
	if !cOpen && !sOpen || f.Closed {
		return Result{State: NotThis}
	}
	return Result{State: NeedMore}
}

// kexLists gives the name lists of the first packet after the identification
// string. open says that they may still come.
func kexLists(b []byte) (lists *[sshLists][]byte, open bool) {
	if len(b) == 0 {
		return nil, true
	}
	_, rest := identification(b)
	if len(rest) < 6 {
		return nil, begins(b, "SSH-") && len(b) < MaxStream
	}
	n := int(rest[0])<<24 | int(rest[1])<<16 | int(rest[2])<<8 | int(rest[3])
	if n < 2 || n > maxSSHPacket || rest[5] != sshKexInit {
		return nil, false
	}
	if 4+n > len(rest) {
		return nil, len(b) < MaxStream
	}
	return readKexInit(rest), false
}

// readKexInit reads the name lists of the packet at the start of b, nil where
// they do not parse.
func readKexInit(b []byte) *[sshLists][]byte {
	c := newCursor(b)
	c = newCursor(c.vector(4))
	c.take(2 + sshCookie) // padding length, message
	var out [sshLists][]byte
	for i := range out {
		out[i] = c.vector(4)
	}
	if !c.ok {
		return nil
	}
	return &out
}

// hassh is the MD5 of the four lists, as salesforce/hassh defines it.
func hassh(lists ...[]byte) string {
	var text []byte
	for i, list := range lists {
		if i > 0 {
			text = append(text, hasshSeparator)
		}
		text = append(text, list...)
	}
	sum := md5.Sum(text)
	return hex.EncodeToString(sum[:])
}
