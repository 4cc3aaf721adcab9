//! What is left for builds: memory, disk and a number of places.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cupola_messages::dea::Refusal;
use cupola_types::{DiskMb, MemoryMb};
use tokio::sync::Notify;

/// The room that this stager gives away. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Capacity {
    left: Arc<Mutex<Room>>,
    changed: Arc<Notify>,
}

/// An amount of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) memory: MemoryMb,
    pub(crate) disk: DiskMb,
    pub(crate) tasks: usize,
}

/// Room that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    taken: Room,
    from: Capacity,
}

impl Capacity {
    pub(crate) fn new(all: Room) -> Self {
        Self {
            left: Arc::new(Mutex::new(all)),
            changed: Arc::default(),
        }
    }

    /// Takes room for one build.
    pub(crate) fn reserve(
        &self,
        memory: MemoryMb,
        disk: DiskMb,
    ) -> Result<Reservation, (Refusal, String)> {
        let mut left = self.lock();
        if left.tasks == 0 {
            return Err((
                Refusal::Full,
                "as many builds run as this stager takes".to_owned(),
            ));
        }
        let Some(memory_left) = left.memory.0.checked_sub(memory.0) else {
            let detail = format!(
                "the build wants {memory} of memory, {} is left",
                left.memory
            );
            return Err((Refusal::NoMemory, detail));
        };
        let Some(disk_left) = left.disk.0.checked_sub(disk.0) else {
            let detail = format!("the build wants {disk} of disk, {} is left", left.disk);
            return Err((Refusal::NoDisk, detail));
        };
        *left = Room {
            memory: MemoryMb(memory_left),
            disk: DiskMb(disk_left),
            tasks: left.tasks - 1,
        };
        Ok(Reservation {
            taken: Room {
                memory,
                disk,
                tasks: 1,
            },
            from: self.clone(),
        })
    }

    /// What is left; nothing when there is no place for another build.
    pub(crate) fn left(&self) -> Room {
        let left = *self.lock();
        if left.tasks > 0 {
            left
        } else {
            Room {
                memory: MemoryMb(0),
                disk: DiskMb(0),
                tasks: 0,
            }
        }
    }

    /// Waits until some room has been given back.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Room> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut left = self.from.lock();
        left.memory.0 += self.taken.memory.0;
        left.disk.0 += self.taken.disk.0;
        left.tasks += self.taken.tasks;
        self.from.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const ALL: Room = Room {
        memory: MemoryMb(100),
        disk: DiskMb(100),
        tasks: 2,
    };

    fn refusal(capacity: &Capacity, memory: u32, disk: u32) -> Refusal {
        capacity
            .reserve(MemoryMb(memory), DiskMb(disk))
            .unwrap_err()
            .0
    }

    #[test]
    fn room_that_is_dropped_is_there_again() {
        let capacity = Capacity::new(ALL);
        let first = capacity.reserve(MemoryMb(60), DiskMb(10)).unwrap();
        assert_eq!(refusal(&capacity, 41, 10), Refusal::NoMemory);
        assert_eq!(refusal(&capacity, 40, 91), Refusal::NoDisk);
        let second = capacity.reserve(MemoryMb(10), DiskMb(10)).unwrap();
        assert_eq!(refusal(&capacity, 1, 1), Refusal::Full);
        assert_eq!(
            capacity.left(),
            Room {
                memory: MemoryMb(0),
                disk: DiskMb(0),
                tasks: 0
            }
        );
        drop((first, second));
        assert_eq!(capacity.left(), ALL);
    }
}
