// Command op is an OpenID Connect provider for the tests of sign-in: the provider
// library of github.com/zitadel/oidc with its own login form and storage, to which
// groups are added. It listens where its one argument, a JSON file, says.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

type config struct {
	Issuer, Address, Certificate, Key string
	Users                             string              // file of storage.StoreFromFile
	Groups                            map[string][]string // by the user's id
	ClientID, ClientSecret, Redirect  string
}

// grouped adds groups to what the storage says of people.
type grouped struct {
	*storage.Storage
	groups map[string][]string
}

func (g grouped) add(info *oidc.UserInfo, scopes []string) {
	for _, s := range scopes {
		if s == "groups" {
			info.AppendClaims("groups", g.groups[info.Subject])
		}
	}
}

func (g grouped) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, token op.IDTokenRequest, scopes []string) error {
	err := g.Storage.SetUserinfoFromRequest(ctx, info, token, scopes)
	g.add(info, scopes)
	return err
}

func (g grouped) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, tokenID, subject, origin string) error {
	err := g.Storage.SetUserinfoFromToken(ctx, info, tokenID, subject, origin)
	g.add(info, []string{"groups"})
	return err
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var cfg config
	if err := json.Unmarshal(text, &cfg); err != nil {
		log.Fatal(err)
	}
	users, err := storage.StoreFromFile(cfg.Users)
	if err != nil {
		log.Fatal(err)
	}
	storage.RegisterClients(storage.WebClient(cfg.ClientID, cfg.ClientSecret, cfg.Redirect))
	server := &http.Server{
		Addr: cfg.Address, ReadHeaderTimeout: 10 * time.Second,
		Handler: exampleop.SetupServer(cfg.Issuer, grouped{storage.NewStorage(users), cfg.Groups}, nil, false),
	}
	log.Fatal(server.ListenAndServeTLS(cfg.Certificate, cfg.Key))
}
