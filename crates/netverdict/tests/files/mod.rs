//! Two servers, a client, and a policy that lets one to the others: files that commands are run on.

use std::path::{Path, PathBuf};
use std::process::Command;

const CLUSTER: &str = "\
{apiVersion: v1, kind: Namespace, metadata: {name: blue, labels: {team: blue}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: red, labels: {team: red}}}
---
apiVersion: v1
kind: Pod
metadata: {namespace: blue, name: server-0, labels: {app: server}}
spec: {nodeName: one, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: blue, name: server-1, labels: {app: server}}
spec: {nodeName: two, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: red, name: client, labels: {app: client}}
spec: {nodeName: two, containers: [{name: c}]}
---
apiVersion: v1
kind: Service
metadata: {namespace: blue, name: server}
spec: {selector: {app: server}, ports: [{port: 80, targetPort: 8080}]}
";

const POLICY: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: blue, name: server}
spec:
  podSelector: {matchLabels: {app: server}}
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        - namespaceSelector: {matchLabels: {team: red}}
      ports:
        - port: 8080
";

/// A directory with `cluster.yaml`, `policy.yaml`, `wrong.yaml`, where the policy names another port, and `broken.yaml`.
pub struct Files(tempfile::TempDir);

impl Files {
    pub fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.put("cluster.yaml", CLUSTER);
        files.put("policy.yaml", POLICY);
        files.put("wrong.yaml", &POLICY.replace("8080", "8081"));
        files.put(
            "broken.yaml",
            &POLICY.replace("podSelector: {", "podSelector: ["),
        );
        files
    }

    pub fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn directory(&self) -> &Path {
        self.0.path()
    }

    /// The program, in this directory.
    pub fn netverdict(&self, command: &str) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_netverdict"));
        program
            .arg(command)
            .current_dir(self.directory())
            .env("COLUMNS", "100");
        program
    }
}
