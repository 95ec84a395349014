package agent

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime"

	"github.com/hashicorp/go-hclog"

	"sallyport/agent/capture"
	"sallyport/rules"
)

// evidenceOf writes the flow's first packets as pcapng, the owner in a comment;
// nil where none were kept.
func evidenceOf(item *observed, log hclog.Logger) *rules.Evidence {
	if len(item.packets) == 0 {
		return nil
	}
	var out bytes.Buffer
	w, err := capture.NewWriter(&out, capture.Origin{
		Hardware: runtime.GOARCH, System: "Linux", Application: "sallyport",
		Interface: item.o.Sensor, Link: capture.LinkRaw,
		Comment: ownerComment(&item.o),
	})
	for _, p := range item.packets {
		if err != nil {
			break
		}
		from := "server"
		if p.FromClient {
			from = "client"
		}
		err = w.Packet(p.Time, p.Data, p.Length, "from the "+from+"; "+ownerComment(&item.o))
	}
	if err != nil { // a buffer takes everything: only an encoding fault can come here
		log.Error("evidence not written", "flow", item.o.FlowID, "error", err)
		return nil
	}
	sum := sha256.Sum256(out.Bytes())
	return &rules.Evidence{
		PCAPNG: out.Bytes(), Packets: len(item.packets), Content: !item.withheld, SHA256: hex.EncodeToString(sum[:]),
	}
}

// ownerComment names the owner the way a person reads it.
func ownerComment(o *rules.Observation) string {
	text := "owner unknown"
	if p := o.Owner.Process; p != nil {
		text = fmt.Sprintf("process %d %s (user %s, %s)", p.PID, orName(p), userOf(p), o.Owner.Attribution)
	}
	if c := o.Owner.Container; c != nil && c.ID != "" {
		text += ", container " + c.ID
	}
	return text
}

func orName(p *rules.Process) string {
	if p.Executable != "" {
		return p.Executable
	}
	return p.Name
}

func userOf(p *rules.Process) string {
	if p.User != "" {
		return p.User
	}
	return fmt.Sprint(p.UID)
}
