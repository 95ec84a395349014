package identity

import (
	"context"
	"net"
	"sync"
)

// connections are the open ones, by the serial of the certificate they showed.
type connections struct {
	mu       sync.Mutex
	bySerial map[string]map[*connection]struct{}
}

type connection struct {
	net.Conn
	serial string // "" until a request was authenticated
}

type connectionKey struct{}

// ConnContext is for http.Server: it lets a request find its connection.
func (s *Service) ConnContext(ctx context.Context, c net.Conn) context.Context {
	conn := &connection{Conn: c}
	// net/http ends the connection's context when the connection ends.
	context.AfterFunc(ctx, func() { s.open.forget(conn) })
	return context.WithValue(ctx, connectionKey{}, conn)
}

func (o *connections) register(ctx context.Context, serial string) {
	conn, ok := ctx.Value(connectionKey{}).(*connection)
	if !ok {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if conn.serial != "" {
		return
	}
	conn.serial = serial
	if o.bySerial[serial] == nil {
		o.bySerial[serial] = map[*connection]struct{}{}
	}
	o.bySerial[serial][conn] = struct{}{}
}

func (o *connections) forget(conn *connection) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.bySerial[conn.serial], conn)
	if len(o.bySerial[conn.serial]) == 0 {
		delete(o.bySerial, conn.serial)
	}
}

// cut closes the connections of revoked certificates and says how many.
func (o *connections) cut(revoked map[string]bool) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for serial, conns := range o.bySerial {
		if !revoked[serial] {
			continue
		}
		for c := range conns {
			c.Close() // an error means that it is closed already
			n++
		}
		delete(o.bySerial, serial)
	}
	return n
}

// count is how many authenticated connections are open.
func (o *connections) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, conns := range o.bySerial {
		n += len(conns)
	}
	return n
}
