//! The REST API's types, shared by the server and its clients.
