package sensor

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// linkRing is one AF_PACKET socket with its ring (TPACKET_V3,
// Documentation/networking/packet_mmap.rst). The socket gives packets from the
// network header on, so that the interface's link type does not matter.
type linkRing struct {
	name   string // of the interface, "all" for all
	fd     int
	memory []byte
	next   int // block
}

// retireMilliseconds is after what time the kernel hands over a block that is
// not full.
const retireMilliseconds = 50

func openLinkRing(name string, c LinkConfig, program []bpf.Instruction) (*linkRing, error) {
	// Protocol 0: nothing comes before the filter and the ring are there.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	r := &linkRing{name: name, fd: fd}
	if err := r.setUp(c, program); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *linkRing) setUp(c LinkConfig, program []bpf.Instruction) error {
	index := 0
	if r.name != allInterfaces {
		i, err := net.InterfaceByName(r.name)
		if err != nil {
			return fmt.Errorf("find interface %s: %w", r.name, err)
		}
		index = i.Index
	}
	if err := attachFilter(r.fd, program); err != nil {
		return err
	}
	if !c.Outgoing {
		if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return fmt.Errorf("ignore outgoing packets: %w", err)
		}
	}
	if err := r.mapRing(c); err != nil {
		return err
	}
	if c.Promiscuous {
		mreq := unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(r.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &mreq); err != nil {
			return fmt.Errorf("set promiscuous mode: %w", err)
		}
	}
	if err := unix.Bind(r.fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: index}); err != nil {
		return fmt.Errorf("bind packet socket: %w", err)
	}
	return nil
}

func (r *linkRing) mapRing(c LinkConfig) error {
	if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return fmt.Errorf("choose ring version: %w", err)
	}
	const frame = 2048 // of no meaning in version 3, but checked
	req := unix.TpacketReq3{
		Block_size: blockBytes, Block_nr: c.RingBytes / blockBytes,
		Frame_size: frame, Frame_nr: c.RingBytes / frame, Retire_blk_tov: retireMilliseconds,
	}
	if err := unix.SetsockoptTpacketReq3(r.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return fmt.Errorf("make ring: %w", err)
	}
	memory, err := unix.Mmap(r.fd, 0, int(c.RingBytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map ring: %w", err)
	}
	r.memory = memory
	return nil
}

func (r *linkRing) close() {
	if r.memory != nil {
		unix.Munmap(r.memory)
		r.memory = nil
	}
	unix.Close(r.fd)
}

// Offsets into a block's header (struct tpacket_block_desc), a packet's header
// (struct tpacket3_hdr) and the address behind it (struct sockaddr_ll).
const (
	blockStatus  = 8
	blockPackets = 12
	blockFirst   = 16
	blockHeader  = 48

	packetNext    = 0
	packetSeconds = 4
	packetNanos   = 8
	packetSnap    = 12
	packetLength  = 16
	packetStatus  = 20
	packetMAC     = 24
	packetTCI     = 32
	packetHeader  = 48

	addressProtocol = packetHeader + 2
	addressKind     = packetHeader + 10
	addressEnd      = packetHeader + 20
)

// linkFrame is a packet as the ring holds it.
type linkFrame struct {
	at     time.Time
	kind   uint8  // PACKET_HOST, PACKET_OUTGOING, ...
	typ    uint16 // EtherType
	vlan   uint16
	length int
	data   []byte
}

// read gives the packets of every block that is ready to take. It returns how
// many there were, and how many headers made no sense.
func (r *linkRing) read(take func(*linkFrame)) (packets, malformed int) {
	for {
		block := r.memory[r.next*blockBytes : (r.next+1)*blockBytes]
		status := (*uint32)(unsafe.Pointer(&block[blockStatus]))
		if atomic.LoadUint32(status)&unix.TP_STATUS_USER == 0 {
			return packets, malformed
		}
		n, bad := readBlock(block, take)
		packets, malformed = packets+n, malformed+bad
		atomic.StoreUint32(status, unix.TP_STATUS_KERNEL)
		r.next = (r.next + 1) % (len(r.memory) / blockBytes)
	}
}

func readBlock(block []byte, take func(*linkFrame)) (packets, malformed int) {
	order := binary.NativeEndian
	at := int(order.Uint32(block[blockFirst:]))
	var f linkFrame
	for range order.Uint32(block[blockPackets:]) {
		if at < blockHeader || at+addressEnd > len(block) || !f.parse(block[at:]) {
			return packets, malformed + 1
		}
		take(&f)
		packets++
		next := int(order.Uint32(block[at+packetNext:]))
		if next == 0 {
			break
		}
		at += next
	}
	return packets, malformed
}

func (f *linkFrame) parse(b []byte) bool {
	order := binary.NativeEndian
	from, size := int(order.Uint16(b[packetMAC:])), int(order.Uint32(b[packetSnap:]))
	if from < addressEnd || from+size > len(b) {
		return false
	}
	f.at = time.Unix(int64(order.Uint32(b[packetSeconds:])), int64(order.Uint32(b[packetNanos:])))
	f.kind, f.typ, f.vlan = b[addressKind], binary.BigEndian.Uint16(b[addressProtocol:]), 0
	if order.Uint32(b[packetStatus:])&unix.TP_STATUS_VLAN_VALID != 0 {
		f.vlan = uint16(order.Uint32(b[packetTCI:])) & 0x0fff
	}
	f.length, f.data = int(order.Uint32(b[packetLength:])), b[from:from+size]
	return true
}

// lost reads how many packets the kernel could not put into the ring since it
// was last asked.
func (r *linkRing) lost() (seen, lost uint64) {
	s, err := unix.GetsockoptTpacketStatsV3(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0, 0
	}
	return uint64(s.Packets), uint64(s.Drops)
}

// networkOrder is htons.
func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}
