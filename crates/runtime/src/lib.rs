//! What every process needs: telemetry, configuration, shutdown.
