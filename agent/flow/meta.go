package flow

import "sallyport/agent/sensor"

// MetaOf is what a sensor knows of a packet beside its bytes. name is the
// sensor's.
func MetaOf(p *sensor.Packet, name string) Meta {
	return Meta{
		Key: p.Flow, Out: p.Out, HasDirection: !p.Forwarded, Listener: p.Listener, Owner: p.Owner, Sensor: name,
	}
}
