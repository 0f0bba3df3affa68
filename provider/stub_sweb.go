package provider

// Resume is where the browser goes on after the person has answered.
func (l *Logout) Resume() string { return "/oauth/logout?flow=" + l.flow }
