package collector

import "time"

// packs sends what is known of packs and feeds. What cannot be read is left out.
func (s stateCollector) packs(send sendGauge) {
	if held, err := s.c.packs.List(); err == nil {
		for _, h := range held {
			offered := 1.0
			if h.Refused != "" {
				offered = 0
			}
			send(gauge("pack_offered", "1 where the pack is offered to agents.", "group", "pack"), offered, h.Group, h.Name)
			if h.Refused == "" {
				send(gauge("pack_version", "Version of the pack that is offered.", "group", "pack"), float64(h.Version), h.Group, h.Name)
				send(gauge("pack_expires_timestamp_seconds", "When the pack that is offered expires.", "group", "pack"), seconds(h.Expires), h.Group, h.Name)
			}
		}
	}
	outcomes, err := s.c.feeds.Outcomes()
	if err != nil {
		return
	}
	for _, o := range outcomes {
		send(gauge("feed_indicators", "Indicators in force from the feed.", "feed"), float64(o.Indicators), o.Name)
		send(gauge("feed_entities", "Entities in force from the feed.", "feed"), float64(o.Entities), o.Name)
		send(gauge("feed_rows", "Rows of the list that was read last.", "feed"), float64(o.Report.Rows), o.Name)
		send(gauge("feed_rejected", "Rows of it that could not be used.", "feed"), float64(o.Report.Rejected), o.Name)
		send(gauge("feed_failures", "Failures since the last success.", "feed"), float64(o.Failures), o.Name)
		send(gauge("feed_success_timestamp_seconds", "When the feed was last read whole, 0 for never.", "feed"), seconds(o.Succeeded), o.Name)
	}
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}
