package collector

import "net/http"

// peopleHandler is what people and their programs reach.
func (c *Collector) peopleHandler() http.Handler {
	return http.NotFoundHandler()
}
