//! What to try, at the end of each command's help.

pub(super) const GLOBECO: &str = "\
Examples:
  globeco demo                             see it work, with nothing else running
  globeco serve order-generation           run the service, on port 8080
  globeco config check order-generation    is everything configured soundly?
  globeco help serve                       what a command takes, with examples";

pub(super) const SERVE: &str = "\
Settings come from the defaults, the files, the environment and these flags; the later wins.
`globeco config show order-generation` shows them all.

Examples:
  globeco serve order-generation --port 9000
  globeco serve order-generation --config site.toml --config desk.toml
  globeco serve order-generation --database-url sqlite:/var/lib/globeco/models.db
  DATABASE_URL=mongodb://db:27017 PRICING_SERVICE_URL=http://prices:8083 globeco serve order-generation";

pub(super) const MIGRATE: &str = "\
A service prepares its store itself when it starts; this is for those who want it done before, and known.

Examples:
  globeco migrate order-generation --database-url mongodb://db:27017
  globeco migrate order-generation --config site.toml && globeco serve order-generation --config site.toml";

pub(super) const OPENAPI: &str = "\
The service itself serves the same under /openapi.json, and a page to try it under /docs.

Examples:
  globeco openapi > order-generation.json
  globeco openapi order-generation | jq '.paths | keys'";

pub(super) const DEMO: &str = "\
Examples:
  globeco demo
  globeco demo --portfolios 300
  globeco demo --keep                      goes on serving, and says what to try
  globeco demo --securities securities.csv --prices prices.csv --date 2017-06-01";

pub(super) const SANDBOX: &str = "\
It prints the neighbours' addresses as variables. From a second terminal, or as here:

Examples:
  globeco sandbox
  globeco sandbox --portfolios 1000 --positions 20
  globeco sandbox --free-ports > neighbours.env &
  env $(cat neighbours.env) globeco serve order-generation";

pub(super) const HEALTH: &str = "\
For images, whose HEALTHCHECK it is: there is nothing else in them to ask with.

Examples:
  globeco health                           the service that HOST and PORT say
  globeco health http://127.0.0.1:8088";

pub(super) const API_KEY: &str = "\
The key is kept nowhere: hand it to the caller, who sends it as `Authorization: Bearer KEY` or `X-API-Key`.
As soon as the service is given one key, whoever calls its API must show one.

Examples:
  globeco api-key portal
  API_KEYS=portal:DIGEST,loader:DIGEST globeco serve order-generation
  API_KEYS_FILE=/run/secrets/api-keys globeco serve order-generation";

pub(super) const COMPLETIONS: &str = "\
Examples:
  globeco completions bash > ~/.local/share/bash-completion/completions/globeco
  globeco completions zsh > \"${fpath[1]}/_globeco\"
  globeco completions fish > ~/.config/fish/completions/globeco.fish";

pub(crate) const CONFIG_SHOW: &str = "\
It is printed as a file that --config takes, with where each value comes from beside it. Passwords, keys
and the like are shown as ***.

Examples:
  globeco config show order-generation
  PORT=9000 globeco config show order-generation --config site.toml | grep -v '# default'";

pub(crate) const CONFIG_CHECK: &str = "\
Exits with 0 if the service would take the settings, and with 1 if not, naming everything that is wrong.

Examples:
  globeco config check order-generation --config site.toml
  globeco config check order-generation --config site.toml && systemctl restart globeco";
