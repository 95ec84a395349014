package collector

import (
	"context"
	"fmt"
	"os"

	"sallyport/collector/account"
	"sallyport/collector/identity"
	"sallyport/collector/record"
	"sallyport/collector/store"
)

// FirstAdmin is the user that Init makes.
const FirstAdmin = "admin"

// Initialised is what a person must be told once.
type Initialised struct {
	CASHA256 string
	Password string // of FirstAdmin, for one sign-in
}

// Init makes the CA and the first administrator. It refuses to run twice.
func Init(ctx context.Context, cfg Config) (Initialised, error) {
	if err := os.MkdirAll(cfg.State, 0o700); err != nil {
		return Initialised{}, fmt.Errorf("make state folder: %w", err)
	}
	ca, err := identity.Init(cfg.Identity, cfg.State)
	if err != nil {
		return Initialised{}, err
	}
	s, err := store.Open(ctx, cfg.Store, cfg.State)
	if err != nil {
		return Initialised{}, err
	}
	defer s.Close()
	if _, err := record.OpenKey(cfg.State); err != nil {
		return Initialised{}, err
	}
	password, err := account.New(cfg.Account, s).AddUser(ctx, FirstAdmin, account.Admin, true)
	if err != nil {
		return Initialised{}, err
	}
	return Initialised{ca.SHA256(), password}, nil
}
