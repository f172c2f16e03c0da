//! Who is who: certificate authority, invites, TLS with reload, grants, tokens and roles.
