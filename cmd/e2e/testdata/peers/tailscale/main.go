// Command control is a control server for tailscaled, for the lab: Tailscale's
// own test server with one relay.
package main

import (
	"flag"
	"log"
	"net/http"

	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
)

func main() {
	address := flag.String("address", "", "where to listen, IP:PORT")
	relay := flag.String("relay", "", "IP of the DERP relay, which uses TCP port 443 and UDP port 3478")
	flag.Parse()
	server := &testcontrol.Server{
		ExplicitBaseURL: "http://" + *address,
		DERPMap: &tailcfg.DERPMap{Regions: map[int]*tailcfg.DERPRegion{1: {
			RegionID: 1, RegionCode: "lab", RegionName: "lab",
			Nodes: []*tailcfg.DERPNode{{
				Name: "lab", RegionID: 1, HostName: *relay, IPv4: *relay, IPv6: "none", DERPPort: 443, STUNPort: 3478, InsecureForTests: true,
			}},
		}}},
	}
	log.Fatal(http.ListenAndServe(*address, server))
}
