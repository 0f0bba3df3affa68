package db

import "github.com/admit-auth/admit/feed"

func (t *txn) Tell(...feed.Event) error { return nil }
