package redisstore

// Cluster is a [session.Store] on a Redis Cluster, whose keys stand on many
// servers. It implements Durable, and is no EpochGetter and no Lister: a script
// sees one server, so a check of a signed-in session takes a second trip for the
// epoch, and sessions cannot be listed. EndAll works as everywhere.
//
// A server that restarts empty has forgotten its sessions. One that restarts
// from a snapshot, or a replica that takes over without the last writes, brings
// back what those had ended, and this store does not notice: run the masters
// without snapshots, and replicas only where losing the last moments is borne.
//
// A [Store] whose prefix has braces, such as "{admit}:", also runs on a cluster,
// on one server of it.
type Cluster struct{ base }

// NewCluster returns a store. Nil options are the defaults. It sends nothing yet.
func NewCluster(client Client, o *Options) (*Cluster, error) {
	c := new(Cluster)
	return c, c.init(client, o, true)
}
