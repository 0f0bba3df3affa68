package provider

import "time"

// Provider stands in for the one of provider.go.
type Provider struct {
	o Options
	*tokens
}

// New stands in for the one of provider.go.
func New(o Options) (*Provider, error) {
	t, err := newTokens(&o)
	if err != nil {
		return nil, err
	}
	return &Provider{o: o, tokens: t}, nil
}

func (p *Provider) now() time.Time {
	if p.o.now != nil {
		return p.o.now()
	}
	return time.Now()
}
