package collector

import (
	"net/http"

	"sallyport/collector/api"
	"sallyport/collector/console"
)

// peopleHandler is what people and their programs reach.
func (c *Collector) peopleHandler() (http.Handler, error) {
	limits := c.cfg.Limits()
	pages, err := console.New(console.Parts{
		Store: c.store, Fleet: c.fleet, Exporters: c.exporters, Desk: c.triage, Accounts: c.accounts, Packs: c.packs, Reports: c.reports, Limits: limits,
	}, c.version, c.logger)
	if err != nil {
		return nil, err
	}
	c.api = api.New(c.cfg.API, api.Parts{
		Store: c.store, Fleet: c.fleet, Exporters: c.exporters, Desk: c.triage, Tokens: c.accounts, Packs: c.packs, Reports: c.reports, Limits: limits,
	}, c.version, c.logger)
	mux := http.NewServeMux()
	mux.Handle(api.Prefix+"/", c.api.Handler())
	mux.Handle("/", pages.Handler())
	return mux, nil
}
