//! Which of two sources answers for a pod or node. Pure.

use kubevitals::sample::WallTime;

use crate::picture::Omission;

/// The newer of two answers, each of them whole, of one source; the agent's where they are equally old.
///
/// What each source says never goes back in time, so neither does the newer of both. A node changes over to its agent
/// with that agent's first complete picture, which is newer than any page; and back with the first page that is newer
/// than the agent's last batch.
pub fn choose<T>(
    agent: Result<T, Omission>,
    kubelet: Result<T, Omission>,
    timestamp: impl Fn(&T) -> WallTime,
) -> Result<T, Omission> {
    match (agent, kubelet) {
        (Ok(agent), Ok(kubelet)) => Ok(if timestamp(&kubelet) > timestamp(&agent) { kubelet } else { agent }),
        (Ok(answer), Err(_)) | (Err(_), Ok(answer)) => Ok(answer),
        // A node that never had an agent lacks its kubelet's numbers.
        (Err(Omission::NoAgent), Err(reason)) | (Err(reason), Err(_)) => Err(reason),
    }
}

#[cfg(test)]
mod tests;
