//! What a platform is born with: secrets, ids and addresses, chosen once and kept.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::Context as _;
use cupola_messages::permissions::{Permissions, inbox_prefix, permissions};
use cupola_types::{ComponentId, Role};
use nkeys::KeyPair;
use rand::RngCore as _;
use rand::distr::{Alphanumeric, SampleString as _};
use serde::{Deserialize, Serialize};

use crate::data_folder::{DataFolder, write_private};

/// Contents of `platform.json`.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Password of the user `admin`.
    pub(crate) admin_password: String,
    /// Signs blob URLs; hex.
    pub(crate) signing_key: String,
    /// Encrypts secrets in the controller's rows; hex.
    pub(crate) encryption_key: String,
    /// Encrypts secrets in the user and token service's rows; hex.
    pub(crate) uaa_encryption_key: String,
    /// Secret of the controller as a client of the user and token service.
    pub(crate) controller_client_secret: String,
    /// Password of the bulk API.
    pub(crate) bulk_password: String,
    /// Password of the routers' `/routes`.
    pub(crate) router_status_password: String,
    /// Each role's id and key on the bus.
    pub(crate) roles: BTreeMap<Role, RoleIdentity>,
    /// Addresses that were chosen, by socket name, so that they stay.
    #[serde(default)]
    pub(crate) addresses: BTreeMap<String, SocketAddr>,
}

/// Who a role is on the bus.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct RoleIdentity {
    /// Its id.
    pub(crate) id: ComponentId,
    /// Seed of its nkey.
    pub(crate) nkey_seed: String,
}

impl Identity {
    /// What the folder holds, or a new identity, which is then in the folder. The second value
    /// tells whether it is new.
    pub(crate) fn load_or_create(folder: &DataFolder) -> anyhow::Result<(Self, bool)> {
        let path = folder.platform_file();
        if path.exists() {
            return Ok((Self::load(folder)?, false));
        }
        let identity = Self::generate()?;
        identity.save(folder)?;
        Ok((identity, true))
    }

    /// What the folder holds.
    pub(crate) fn load(folder: &DataFolder) -> anyhow::Result<Self> {
        let path = folder.platform_file();
        let text =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| {
            format!(
                "{} is damaged: restore it from a backup; it holds the platform's keys",
                path.display()
            )
        })
    }

    pub(crate) fn save(&self, folder: &DataFolder) -> anyhow::Result<()> {
        write_private(
            &folder.platform_file(),
            &serde_json::to_vec_pretty(self)?,
            None,
        )
    }

    /// A new identity that is in no folder.
    pub(crate) fn generate() -> anyhow::Result<Self> {
        let mut roles = BTreeMap::new();
        for role in Role::ALL {
            let nkey_seed = KeyPair::new_user()
                .seed()
                .context("cannot make a key for the bus")?;
            roles.insert(
                role,
                RoleIdentity {
                    id: ComponentId::generate(),
                    nkey_seed,
                },
            );
        }
        Ok(Self {
            admin_password: password(),
            signing_key: key(),
            encryption_key: key(),
            uaa_encryption_key: key(),
            controller_client_secret: password(),
            bulk_password: password(),
            router_status_password: password(),
            roles,
            addresses: BTreeMap::new(),
        })
    }

    pub(crate) fn of(&self, role: Role) -> anyhow::Result<&RoleIdentity> {
        self.roles
            .get(&role)
            .with_context(|| format!("platform.json has no identity for {role}"))
    }
}

impl RoleIdentity {
    /// Public half of the key, as brokers know the identity.
    pub(crate) fn public_key(&self) -> anyhow::Result<String> {
        let pair =
            KeyPair::from_seed(&self.nkey_seed).context("a key in platform.json is damaged")?;
        Ok(pair.public_key())
    }

    pub(crate) fn permissions(&self, role: Role) -> Permissions {
        permissions(role, self.id.as_str())
    }

    pub(crate) fn inbox_prefix(&self, role: Role) -> String {
        inbox_prefix(role, self.id.as_str())
    }
}

fn password() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), 24)
}

/// 256 random bits in hex.
fn key() -> String {
    let mut bytes = [0u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_second_start_finds_what_the_first_one_made() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = DataFolder::create(temporary.path()).unwrap();
        let (first, new) = Identity::load_or_create(&folder).unwrap();
        assert!(new);
        let (second, new) = Identity::load_or_create(&folder).unwrap();
        assert!(!new);
        assert_eq!(first.admin_password, second.admin_password);
        assert_eq!(
            first.of(Role::Dea).unwrap().id,
            second.of(Role::Dea).unwrap().id
        );
    }

    #[test]
    fn a_damaged_file_says_what_to_do() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = DataFolder::create(temporary.path()).unwrap();
        std::fs::write(folder.platform_file(), "{").unwrap();
        let error = format!("{:#}", Identity::load_or_create(&folder).unwrap_err());
        assert!(error.contains("restore it from a backup"), "{error}");
    }
}
