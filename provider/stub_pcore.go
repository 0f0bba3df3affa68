package provider

import "net/http"

func (p *Provider) introspect(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }
func (p *Provider) revoke(w http.ResponseWriter, r *http.Request)     { http.NotFound(w, r) }
func (p *Provider) userinfo(w http.ResponseWriter, r *http.Request)   { http.NotFound(w, r) }
func (p *Provider) jwks(w http.ResponseWriter, r *http.Request)       { http.NotFound(w, r) }
func (p *Provider) logout(w http.ResponseWriter, r *http.Request)     { http.NotFound(w, r) }
func (p *Provider) metadata(w http.ResponseWriter, r *http.Request)   { http.NotFound(w, r) }
