package protocol

// Messages before encryption begins: SSH_MSG_NEWKEYS, and those of the key
// exchange methods (RFC 4250 section 4.1.2).
const (
	sshNewKeys  = 21
	sshKexFirst = 30
	sshKexLast  = 34
)

// sshPacket cuts an unencrypted binary packet, RFC 4253 section 6: length,
// padding length, message; with length and padding a multiple of eight.
func sshPacket(b []byte) (message byte, size int, ok bool) {
	c := newCursor(b)
	n, padding := c.uint(4), c.uint(1)
	message = byte(c.uint(1))
	if !c.ok || n < 12 || n > maxSSHPacket || (n+4)%8 != 0 || padding < 4 || padding > n-2 {
		return 0, 0, false
	}
	known := message == sshKexInit || message == sshNewKeys || message >= sshKexFirst && message <= sshKexLast
	return message, 4 + n, known
}

// sshMiddle says whether a stream whose identification string was not seen
// shows SSH's key exchange: a SSH_MSG_KEXINIT that parses, or another message
// of the exchange and then SSH_MSG_NEWKEYS.
func sshMiddle(b []byte) bool {
	if message, _, ok := sshPacket(b); !ok {
		return false
	} else if message == sshKexInit {
		lists := readKexInit(b)
		return lists != nil && len(lists[listKex]) > 0 && printable(lists[listKex]) && printable(lists[listCiphersToServer])
	}
	for n := 0; ; n++ {
		message, size, ok := sshPacket(b)
		if !ok {
			return false
		}
		if message == sshNewKeys {
			return n > 0 && size == 16
		}
		if size > len(b) {
			return false
		}
		b = b[size:]
	}
}

// lookSSHMiddle judges a flow of which no identification string was seen.
func lookSSHMiddle(f *Flow) Result {
	answer := Result{State: sidesAgree(sshMiddle(f.Client.Stream), sshMiddle(f.Server.Stream)), Label: "ssh"}
	switch answer.State {
	case Confirmed:
		answer.Evidence = "SSH key exchange messages from both sides, in the middle of a flow"
	case Suspected:
		answer.Evidence = "SSH key exchange messages from one side, in the middle of a flow"
	default:
		return undecided(f)
	}
	return answer
}
