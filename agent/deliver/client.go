package deliver

import "net/http"

// Client makes a client that speaks to the collector under the agent's identity
// as it is on disk now, for what is not a finding. The URL is the collector's.
func (c CollectorConfig) Client() (*http.Client, string, error) {
	load := func() (*Identity, error) { return LoadIdentity(c.IdentityDir) }
	if c.CertFile != "" {
		load = func() (*Identity, error) { return loadOwn(c) }
	}
	id, err := load()
	if err != nil {
		return nil, "", err
	}
	url := id.URL
	if c.URL != "" {
		url = c.URL
	}
	return newClient(id.tlsConfig()), url, nil
}
