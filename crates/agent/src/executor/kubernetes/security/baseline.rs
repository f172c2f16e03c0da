//! What every pod must keep: nothing known to escalate privileges.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Capabilities, Container, LifecycleHandler, Probe, SELinuxOptions, SeccompProfile, SecurityContext,
    Volume, WindowsSecurityContextOptions,
};

use super::{Rule, Subject};
use crate::executor::kubernetes::settings::PodSecurity;

const fn rule(control: &'static str, check: fn(&Subject<'_>) -> Vec<String>) -> Rule {
    Rule {
        control,
        level: PodSecurity::Baseline,
        check,
    }
}

pub(super) const RULES: &[Rule] = &[
    rule("HostProcess", host_process),
    rule("Host Namespaces", host_namespaces),
    rule("Privileged Containers", privileged),
    rule("Capabilities", capabilities),
    rule("HostPath Volumes", host_paths),
    rule("Host Ports", host_ports),
    rule("Host Probes / Lifecycle Hooks", host_probes),
    rule("AppArmor", app_armor),
    rule("SELinux", se_linux),
    rule("/proc Mount Type", proc_mount),
    rule("Seccomp", seccomp),
    rule("Sysctls", sysctls),
    rule("Ephemeral Containers", ephemeral),
];

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
const SE_LINUX_TYPES: [&str; 5] = [
    "",
    "container_t",
    "container_init_t",
    "container_kvm_t",
    "container_engine_t",
];
const SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];
/// The older way to name an AppArmor profile.
const APP_ARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

fn host_process(subject: &Subject<'_>) -> Vec<String> {
    let wrong = |options: &Option<WindowsSecurityContextOptions>| {
        let options = options.as_ref();
        options
            .is_some_and(|options| options.host_process == Some(true))
            .then(|| "it is a HostProcess".to_owned())
    };
    let pod = subject
        .pod_context()
        .and_then(|context| wrong(&context.windows_options));
    let each = subject.each(|_, context| wrong(&context?.windows_options));
    pod.into_iter().chain(each).collect()
}

fn host_namespaces(subject: &Subject<'_>) -> Vec<String> {
    let spec = subject.spec;
    [
        ("hostNetwork", spec.host_network),
        ("hostPID", spec.host_pid),
        ("hostIPC", spec.host_ipc),
    ]
    .into_iter()
    .filter(|(_, value)| *value == Some(true))
    .map(|(field, _)| format!("`{field}` is true"))
    .collect()
}

fn privileged(subject: &Subject<'_>) -> Vec<String> {
    subject.each(|_, context| (context?.privileged == Some(true)).then(|| "it is privileged".to_owned()))
}

fn capabilities(subject: &Subject<'_>) -> Vec<String> {
    subject.each(|_, context| foreign(context?.capabilities.as_ref()?, &CAPABILITIES))
}

/// A capability that is added and not allowed.
pub(super) fn foreign(capabilities: &Capabilities, allowed: &[&str]) -> Option<String> {
    let mut added = capabilities.add.iter().flatten();
    let foreign = added.find(|capability| !allowed.contains(&capability.as_str()))?;
    Some(format!("the capability `{foreign}` is added"))
}

fn host_paths(subject: &Subject<'_>) -> Vec<String> {
    let volumes = subject.spec.volumes.iter().flatten();
    let wrong = |volume: &&Volume| volume.host_path.is_some();
    volumes
        .filter(wrong)
        .map(|volume| format!("the volume `{}` is a path of the node", volume.name))
        .collect()
}

fn host_ports(subject: &Subject<'_>) -> Vec<String> {
    subject.each(|container, _| {
        let mut ports = container.ports.iter().flatten().filter_map(|port| port.host_port);
        let port = ports.find(|port| *port != 0)?;
        Some(format!("it takes port {port} of the node"))
    })
}

fn host_probes(subject: &Subject<'_>) -> Vec<String> {
    let of_probe = |probe: &Option<Probe>| {
        let probe = probe.as_ref()?;
        let http = probe.http_get.as_ref().and_then(|action| action.host.clone());
        http.or_else(|| probe.tcp_socket.as_ref().and_then(|action| action.host.clone()))
    };
    let of_hook = |hook: &Option<LifecycleHandler>| {
        let hook = hook.as_ref()?;
        let http = hook.http_get.as_ref().and_then(|action| action.host.clone());
        http.or_else(|| hook.tcp_socket.as_ref().and_then(|action| action.host.clone()))
    };
    subject.each(|container, _| {
        let Container {
            liveness_probe,
            readiness_probe,
            startup_probe,
            lifecycle,
            ..
        } = container;
        let probes = [liveness_probe, readiness_probe, startup_probe]
            .into_iter()
            .filter_map(of_probe);
        let hooks = lifecycle
            .iter()
            .flat_map(|lifecycle| [&lifecycle.post_start, &lifecycle.pre_stop]);
        let host = probes.chain(hooks.filter_map(of_hook)).find(|host| !host.is_empty())?;
        Some(format!("a probe or hook goes to the host `{host}`"))
    })
}

fn app_armor(subject: &Subject<'_>) -> Vec<String> {
    let wrong = |profile: &Option<AppArmorProfile>| {
        let kind = &profile.as_ref()?.type_;
        (!matches!(kind.as_str(), "RuntimeDefault" | "Localhost")).then(|| format!("its AppArmor profile is `{kind}`"))
    };
    let pod = subject
        .pod_context()
        .and_then(|context| wrong(&context.app_armor_profile));
    let each = subject.each(|_, context| wrong(&context?.app_armor_profile));
    let annotations = subject.pod.metadata.annotations.iter().flatten();
    let annotated = annotations.filter(|(key, value)| {
        let allowed = matches!(value.as_str(), "" | "runtime/default") || value.starts_with("localhost/");
        key.starts_with(APP_ARMOR_ANNOTATION) && !allowed
    });
    let annotated = annotated.map(|(key, value)| format!("the annotation `{key}` is `{value}`"));
    pod.into_iter().chain(each).chain(annotated).collect()
}

fn se_linux(subject: &Subject<'_>) -> Vec<String> {
    let wrong = |options: &Option<SELinuxOptions>| {
        let options = options.as_ref()?;
        let given = |field: &Option<String>| field.as_deref().is_some_and(|field| !field.is_empty());
        let kind = options.type_.as_deref().unwrap_or_default();
        let wrong = !SE_LINUX_TYPES.contains(&kind) || given(&options.user) || given(&options.role);
        wrong.then(|| "its SELinux options name a user, a role or another type".to_owned())
    };
    let pod = subject
        .pod_context()
        .and_then(|context| wrong(&context.se_linux_options));
    let each = subject.each(|_, context| wrong(&context?.se_linux_options));
    pod.into_iter().chain(each).collect()
}

fn proc_mount(subject: &Subject<'_>) -> Vec<String> {
    subject.each(|_, context| {
        let kind = context?.proc_mount.as_ref()?;
        (kind != "Default").then(|| format!("its /proc is mounted as `{kind}`"))
    })
}

fn seccomp(subject: &Subject<'_>) -> Vec<String> {
    let wrong = |profile: &Option<SeccompProfile>| {
        let kind = &profile.as_ref()?.type_;
        (!is_confining(kind)).then(|| format!("its seccomp profile is `{kind}`"))
    };
    let pod = subject
        .pod_context()
        .and_then(|context| wrong(&context.seccomp_profile));
    let each = subject.each(|_, context: Option<&SecurityContext>| wrong(&context?.seccomp_profile));
    pod.into_iter().chain(each).collect()
}

/// Whether a kind of seccomp profile forbids anything.
pub(super) fn is_confining(kind: &str) -> bool {
    matches!(kind, "RuntimeDefault" | "Localhost")
}

fn sysctls(subject: &Subject<'_>) -> Vec<String> {
    let sysctls = subject.pod_context().and_then(|context| context.sysctls.as_ref());
    let names = sysctls.into_iter().flatten().map(|sysctl| &sysctl.name);
    let foreign = names.filter(|name| !SYSCTLS.contains(&name.as_str()));
    foreign.map(|name| format!("the sysctl `{name}` is set")).collect()
}

/// Not a control of the standard: they are added to pods that run, and would escape the other rules here.
fn ephemeral(subject: &Subject<'_>) -> Vec<String> {
    let containers = subject.spec.ephemeral_containers.iter().flatten();
    containers
        .map(|container| format!("it has the ephemeral container `{}`", container.name))
        .collect()
}
