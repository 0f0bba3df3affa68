package server

import (
	"fmt"
	"reflect"
)

// Reload takes what may change while the server runs from cfg, which is the
// configuration as it reads now: the log level, and the certificate in the
// files that are named already. It refuses a configuration that cannot be, and
// names in the log what waits for the next start. The command admit calls it on
// SIGHUP.
func (s *Server) Reload(cfg Config) error {
	if err := cfg.Check(); err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	s.lines.level.Set(cfg.LogLevel)
	s.https.reload(s.log)
	if err := s.ReloadTheme(); err != nil {
		return err
	}
	old := s.cfg.Settings()
	for i, now := range cfg.Settings() {
		if now.Name != "log_level" && !reflect.DeepEqual(now.Value, old[i].Value) {
			s.log.Warn("a setting changed that waits for the next start", "setting", now.Name, "origin", now.Origin)
		}
	}
	s.log.Info("the configuration was read again", "log_level", cfg.LogLevel.String())
	return nil
}
