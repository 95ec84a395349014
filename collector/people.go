package collector

import (
	"net/http"

	"sallyport/collector/api"
	"sallyport/collector/console"
)

// peopleHandler is what people and their programs reach.
func (c *Collector) peopleHandler() (http.Handler, error) {
	pages, err := console.New(c.store, c.fleet, c.exporters, c.triage, c.accounts, c.version, c.logger)
	if err != nil {
		return nil, err
	}
	c.api = api.New(c.cfg.API, c.store, c.fleet, c.exporters, c.triage, c.accounts, c.version, c.logger)
	mux := http.NewServeMux()
	mux.Handle(api.Prefix+"/", c.api.Handler())
	mux.Handle("/", pages.Handler())
	return mux, nil
}
