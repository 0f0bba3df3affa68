package sharing

func app(addr, redis string) error { return errStopped }
